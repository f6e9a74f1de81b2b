#!/bin/sh
# Debian's Chromium with fonts, for `make browser`. Asks for root where it is not root already.
set -eu
run=""
[ "$(id -u)" = 0 ] || run=sudo
$run apt-get update -qq
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends chromium fonts-liberation

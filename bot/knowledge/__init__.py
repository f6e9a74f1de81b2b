"""Articles → sections → vectors → the passages a reply rests on."""

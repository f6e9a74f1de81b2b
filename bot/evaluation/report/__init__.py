"""The report of an evaluation as people read it: one page, Markdown for a README, the learning curve as a picture, and the
JSON that all of them are made from."""

from bot.evaluation.report.write import write_report as write_report

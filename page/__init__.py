"""What an inspector sees: the page, in five languages, and the functions that programs call.

`wiring` says which click gets which answer, `answers` what it changes on the page, `components`
what is there, and `session` what one visitor has of it. Nothing here scores, maps or judges, and
nothing is imported from `modeling` before it is needed: the first page is served without torch and
transformers.
"""

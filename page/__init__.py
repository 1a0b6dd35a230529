"""What an inspector sees: the page, in five languages, and the functions that programs call.

    layout  -> bench -> modeling (the pipeline)      what is clicked, and what answers
            -> light_table, batch, about, export     how it is shown and taken home
            -> catalogue                             which models there are

Nothing here scores, maps or judges, and nothing is imported from `modeling` before it is needed:
the first page is served without torch and transformers.
"""

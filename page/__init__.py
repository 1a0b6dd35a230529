"""What an inspector sees: the page, in five languages, and the functions that programs call.

    wiring              which click gets which answer
    answers             what a click changes on the page
    components          what is on the page, laid out as one sees it
    session             what one visitor has on it
    inspection/         photos in, results out, one by one or as a batch
    models/             which models are on offer, what is known of them, which are in memory
    views/              how results, batches and models are shown and taken home
    api/                the functions for programs, and their JSON
    server/             limits, login, headers, and what of Gradio is replaced
    static/, templates/ style sheets and scripts of the browser; HTML, which `markup` fills
    languages/          every word of the page

Nothing here scores, maps or judges, and nothing is imported from `modeling` before it is needed:
the first page is served without torch and transformers.
"""

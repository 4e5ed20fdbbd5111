"""The browser demo: `service` turns uploads into results, `panels` results into HTML, `page` is the page."""

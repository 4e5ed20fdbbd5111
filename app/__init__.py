"""The browser demo: `service` turns uploads into results, `panels` results into HTML, `ui` is the page."""

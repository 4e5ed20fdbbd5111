"""Start the demo: `python app.py`, then open the address that it prints."""

from app.server.environment import collector_paused, prepare


def main() -> None:
    """Prepare the environment, which the page's imports read; then import, start and serve the page."""
    caches = prepare()
    with collector_paused():
        from app.server.start import start

        page = start(caches)
    page.block_thread()


if __name__ == "__main__":
    main()

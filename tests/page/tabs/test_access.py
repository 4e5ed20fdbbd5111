"""Access: axe-core finds no violation on any tab, on a desk and on a phone, in light and dark."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from helpers.page.browsing import WAIT, run, upload
from helpers.pairs import write_pair

GRADIO = {"exclude": [["button[aria-label='Upload files']"]]}  # its icon has a button inside a button
TABS = ("Inspect", "What if", "Evaluate", "How it works")


SCREENS = {"desk, light": (1400, 900, "light"), "phone, dark": (390, 844, "dark")}


def test_axe_finds_no_violation_on_any_tab(browser, address, tmp_path):
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light")
    tab = context.new_page()
    tab.set_default_timeout(WAIT)
    tab.goto(f"{address}?__theme=light", wait_until="domcontentloaded")
    tab.wait_for_selector("#ktb-run")
    upload(tab, *write_pair(tmp_path))
    run(tab)
    found = {}
    for screen, (width, height, scheme) in SCREENS.items():
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme=scheme)
        tab.evaluate("isDark => document.body.classList.toggle('dark', isDark)", scheme == "dark")
        for name in TABS:
            tab.get_by_role("tab", name=name, exact=True).first.click()
            tab.wait_for_timeout(300)  # a tab fades in
            answer = Axe().run(tab, context=GRADIO, options={"resultTypes": ["violations"]}).response
            found[screen, name] = [(one["id"], one["nodes"][0]["html"][:200]) for one in answer["violations"]]
    context.close()
    assert found == {(screen, name): [] for screen in SCREENS for name in TABS}

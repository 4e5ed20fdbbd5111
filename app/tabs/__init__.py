"""One module per tab: `build(context)` lays out its components and wires their events."""

"""Procedural indoor scenes for the example inputs (needs Blender's `bpy`)."""

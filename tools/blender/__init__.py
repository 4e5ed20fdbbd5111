"""The example scenes, modelled and rendered with Blender."""

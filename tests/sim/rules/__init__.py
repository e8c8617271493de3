"""The rules of the design, each with what switches it off."""

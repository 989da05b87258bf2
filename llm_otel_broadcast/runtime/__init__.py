"""What each `instrument()` and each span processor starts; the only room that joins the others."""

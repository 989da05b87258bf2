"""What one `instrument()` starts; the only room that joins the others."""

"""Pure torch: XLS-R encoder, length adaptor, mBART decoder, heads, and the whole model."""

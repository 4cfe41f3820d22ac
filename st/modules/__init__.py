"""Pure torch: XLS-R encoder, length adaptor, mBART decoder, CTC head, and the whole model."""

"""Corpora as others lay them out, read into one frame of rows; :mod:`st.corpora.rows` is the contract."""

"""What is replaced in fairseq, torch and Python's library: the table is :mod:`st.fairseq_plugin.repairs.table`."""

"""Files of tables: how they are opened, what their text means, and what their types become."""

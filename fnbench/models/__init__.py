"""Networks and floors that turn face crops into normals, one module each."""

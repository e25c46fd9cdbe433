"""Those who are compared: he, its one-time keys, NVFlare, TenSEAL's tutorial, and floats in the clear."""

"""Matting with OpenVINO alone: networks, pictures, videos. No torch here."""

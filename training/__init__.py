"""Training and evaluation of KTB models; imports `ktb`, never `app`."""

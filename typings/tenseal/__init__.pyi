from . import sealapi as sealapi

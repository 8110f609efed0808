"""x"""
def write(*a): pass

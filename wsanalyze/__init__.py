"""wsanalyze: which layers of a network are learning, when, and which ones move together?"""

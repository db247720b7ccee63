"""FILL"""

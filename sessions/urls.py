"""The pages of the control plane."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []

"""Every client holds a fair sample, nothing looks different: what federated averaging was made for."""

from dataclasses import replace

from core.scenario import Part
from scenarios.noniid import GEOMETRY
from scenarios.noniid import SCENARIO as NONIID

SCENARIO = replace(NONIID, name="iid", partition=Part("iid"), looks=(), augment=GEOMETRY)

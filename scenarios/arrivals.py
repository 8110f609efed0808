"""More of the same arrives in five portions: does the model go on getting better?"""

from dataclasses import replace

from core.scenario import Part
from scenarios.class_incremental import SCENARIO as CLASS_INCREMENTAL

SCENARIO = replace(
    CLASS_INCREMENTAL, name="arrivals", stream=Part("arrivals", {"portions": 5}), schedule=Part("cosine"), probe=0
)

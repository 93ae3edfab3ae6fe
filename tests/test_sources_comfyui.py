"""Graphs of ComfyUI, followed from what was saved to the sampler, its texts and its numbers."""

from __future__ import annotations

import time

import pytest
from picture_files import graph, node, png, sampler

from forgekit.sources.pictures import prompt_of

DOG = node("CLIPTextEncode", text="a dog", clip=["4", 1])
GUIDED = {  # a sampler that has its noise, guider and steps in nodes of their own
    "n3": node(
        "SamplerCustomAdvanced", noise=["25", 0], guider=["22", 0], sampler=["16", 0], sigmas=["17", 0], latent_image=["5", 0],
    ),
    "n16": node("KSamplerSelect", sampler_name="euler"),
    "n17": node("BasicScheduler", scheduler="simple", steps=["18", 0], denoise=1.0, model=["4", 0]),
    "n18": node("PrimitiveInt", value=12),
    "n25": node("RandomNoise", noise_seed=99),
}  # fmt: skip


@pytest.fixture
def said(tmp_path):
    """What a graph says: text and negative prompt; or the reason why it says nothing."""

    def read(**more):
        found = prompt_of(png(tmp_path / "p.png", prompt=graph(**more)))
        return found if isinstance(found, str) else (found["text"], found["parameters"].get("negative_prompt"), found)

    return read


def positive(kind, **inputs):
    """A node between the first text and the sampler."""
    return {"n3": sampler(positive=["20", 0]), "n20": node(kind, **inputs), "n10": DOG}


def spoken(kind, **inputs):
    """A node that says the first text."""
    return {"n6": node("CLIPTextEncode", text=["30", 0], clip=["4", 1]), "n30": node(kind, **inputs)}


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (positive("ControlNetApply", conditioning=["6", 0], control_net=["40", 0], image=["41", 0]), "a red circle"),
        (positive("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0]), "a red circle"),
        (positive("Reroute", **{"": ["6", 0]}), "a red circle"),
        (positive("ConditioningSetArea", conditioning=["6", 0], width=64, height=64), "a red circle"),
        (positive("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["10", 0]), "a red circle, a dog"),
        (positive("ConditioningConcat", conditioning_from=["10", 0], conditioning_to=["6", 0]), "a red circle, a dog"),
        (positive("ConditioningAverage", conditioning_from=["10", 0], conditioning_to=["6", 0], conditioning_to_strength=0.5), "a red circle, a dog"),
        (positive("ConditioningAverage", conditioning_from=["10", 0], conditioning_to=["6", 0], conditioning_to_strength=1.0), "a red circle"),
        (positive("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["20", 0]), "a red circle"),
        (spoken("PrimitiveStringMultiline", value="a red circle"), "a red circle"),
        (spoken("DF_Text_Box", Text="a red circle"), "a red circle"),
        (spoken("StringConcatenate", string_a="a red", string_b="circle", delimiter=" "), "a red circle"),
        (spoken("Text Concatenate", delimiter=" ", clean_whitespace="true", text_b="circle", text_a="a red", text_c=""), "a red circle"),
        (spoken("ShowText|pysssss", text=["31", 0], text_0="of an earlier run") | {"n31": node("String", string="a red circle")}, "a red circle"),
        (spoken("ImpactSwitch", select=2, sel_mode=False, input1="a dog", input2="a red circle"), "a red circle"),
        (spoken("ComfySwitchNode", switch=False, on_true="a dog", on_false="a red circle"), "a red circle"),
        ({"n6": node("CLIPTextEncodeSDXL", text_g="a red circle", text_l="oil painting", width=8)}, "a red circle, oil painting"),
        ({"n6": node("CLIPTextEncodeFlux", clip_l="red, circle", t5xxl="a red circle", guidance=3.5)}, "a red circle"),
        ({"n6": node("ImpactWildcardEncode", wildcard_text="a {red|blue} circle", populated_text="a red circle", seed=1)}, "a red circle"),
        ({"n3": sampler(positive=["21", 3], negative=["21", 4]), "n21": node("FromBasicPipe", basic_pipe=["22", 0]),
          "n22": node("ToBasicPipe", model=["4", 0], clip=["4", 1], positive=["6", 0], negative=["7", 0])}, "a red circle"),
        ({"n3": sampler(positive=["21", 1], negative=["21", 2]),
          "n21": node("Efficient Loader", ckpt_name="m", positive=["6", 0], negative="blurry", lora_name="None")}, "a red circle"),
        (spoken("easy anythingIndexSwitch", index=0, value0=["31", 0], value1="a dog") | {"n31": node("String", string="a red circle")}, "a red circle"),
        (spoken("Text Input Switch", boolean=True, text_a="a red circle", text_b="a dog"), "a red circle"),
        (spoken("ComfySwitchNode", switch=["33", 0], on_true="a dog", on_false="a red circle") | {"n33": node("PrimitiveBoolean", value=False)}, "a red circle"),
        (positive("CR Conditioning Input Switch", Input=2, conditioning1=["10", 0], conditioning2=["6", 0]), "a red circle"),
        (positive("Conditioning Input Switch", boolean=False, conditioning_a=["10", 0], conditioning_b=["6", 0]), "a red circle"),
        (spoken("StringFunction|pysssss", action="append", tidy_tags="yes", text_a="a red", text_b="circle", text_c=""), "a red, circle"),
        ({"n6": node("CLIPTextEncodeKandinsky5", clip_l="red thing", qwen25_7b="a red circle")}, "a red circle"),
        ({"n3": sampler(positive=["21", 4], negative=["21", 5]), "n20": node("Context (rgthree)", positive=["6", 0], negative=["7", 0]),
          "n21": node("Context Switch (rgthree)", ctx_02=["22", 0]), "n23": node("Seed (rgthree)", seed=3),
          "n22": node("Context (rgthree)", base_ctx=["20", 0], seed=["23", 0], clip=["4", 1])}, "a red circle"),
    ],
    ids=lambda each: "" if isinstance(each, str) else "-".join(n["class_type"] for n in each.values() if n["class_type"] not in ("KSampler", "CLIPTextEncode")),
)  # fmt: skip
def test_the_texts_are_followed_through_what_stands_between(said, nodes, text):
    assert said(**nodes)[:2] == (text, "blurry")


@pytest.mark.parametrize(
    ("guider", "text", "negative", "scale"),
    [
        (node("BasicGuider", model=["4", 0], conditioning=["26", 0]), "a red circle", None, 2.5),
        (node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=5.0), "a red circle", "blurry", 5.0),
        (node("DualCFGGuider", cond1=["6", 0], cond2=["10", 0], negative=["7", 0], cfg_conds=6.0, cfg_cond2_negative=3.0),
         "a red circle, a dog", "blurry", 6.0),
    ],
)  # fmt: skip
def test_a_guider_is_followed_and_one_without_a_negative_side_has_none(said, guider, text, negative, scale):
    flux = node("FluxGuidance", guidance=2.5, conditioning=["6", 0])
    found = said(**GUIDED, n22=guider, n26=flux, n10=DOG)
    assert found[:2] == (text, negative)
    parameters = found[2]["parameters"]
    assert (parameters["seed"], parameters["num_inference_steps"], parameters["guidance_scale"]) == (99, 12, scale)
    assert (parameters["width"], parameters["height"]) == (64, 96)


def test_what_is_zeroed_out_is_no_negative_prompt_and_neither_is_the_prompt_itself(said):
    zero = node("ConditioningZeroOut", conditioning=["6", 0])
    assert said(n7=zero)[:2] == ("a red circle", None)
    assert said(n7=node("ConditioningZeroOut", conditioning=["10", 0]), n10=DOG)[:2] == ("a red circle", None)
    assert said(n3=sampler(negative=["6", 0]))[:2] == ("a red circle", None)
    both = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0])
    assert said(n7=zero, n20=both, n3=sampler(positive=["20", 0], negative=["20", 1]))[:2] == ("a red circle", None)
    part = {
        "n20": node("ConditioningSetTimestepRange", conditioning=["7", 0]),
        "n21": node("ConditioningZeroOut", conditioning=["7", 0]),
    }
    joined = node("ConditioningCombine", conditioning_1=["20", 0], conditioning_2=["21", 0])
    assert said(**part, n22=joined, n3=sampler(negative=["22", 0]))[:2] == ("a red circle", "blurry")


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        (spoken("OllamaGenerate", prompt="describe a scene", model="llama3"), "node 30 (OllamaGenerate)"),
        (spoken("StringReplace", string="a red circle", find="red", replace="blue"), "node 30 (StringReplace)"),
        (spoken("StringFunction|pysssss", action="replace", text_a="a red circle", text_b="red", text_c="blue"), "node 30"),
        (spoken("CR Text Operation", text="a red circle", operation="uppercase"), "node 30"),
        (spoken("easy promptLine", prompt="a dog\na red circle", start_index=1, max_rows=1), "node 30"),
        (spoken("easy promptList", prompt_1="a red circle", prompt_2="a dog"), "node 30"),
        (spoken("easy wildcards", text="a __color__ circle", seed=3), "node 30"),
        (positive("MagicConditioning", a=1), "node 20 (MagicConditioning)"),
        ({"n3": sampler(positive=["99", 0])}, "node 99"),
        (positive("ConditioningCombine", conditioning_1=["20", 0], conditioning_2=["20", 0]), "node 3 (KSampler)"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_be_followed_is_named(said, nodes, named):
    assert named in said(**nodes)


def test_where_only_the_negative_cannot_be_followed_the_row_says_so(said):
    text, negative, found = said(n7=node("CLIPTextEncode", text=["30", 0]), n30=node("Florence2Run", image=["31", 0]))
    assert (text, negative) == ("a red circle", None)
    assert found["source"]["notes"] == ["the negative prompt: node 30 (Florence2Run) cannot be followed"]


def test_where_the_graph_cannot_be_followed_what_stands_beside_it_counts(tmp_path):
    lost = graph(**spoken("OllamaGenerate", prompt="describe a scene"))
    path = png(tmp_path / "p.png", prompt=lost, parameters="a blue star\nSteps: 4, Sampler: Euler, Seed: 1")
    assert prompt_of(path)["text"] == "a blue star"


def test_a_node_that_saves_the_prompt_with_the_picture_counts_where_the_sampler_cannot_be_followed(said):
    saver = node("SDPromptSaver", images=["8", 0], positive="a red circle in words", negative="", seed=9, steps=4)
    assert said(n9=saver)[:2] == ("a red circle", "blurry")
    assert said(n9=saver, **spoken("OllamaGenerate", prompt="describe"))[0] == "a red circle in words"


def test_of_several_samplers_the_one_whose_picture_is_saved_counts_and_the_first_pass_of_it(said):
    other = {"n1": sampler(positive=["10", 0], seed=8), "n10": DOG, "n2": node("PreviewImage", images=["1", 0])}
    assert said(**other)[2]["parameters"]["seed"] == 5
    larger = {"n50": node("LatentUpscale", samples=["3", 0], width=256, height=256)}
    second = sampler(latent_image=["50", 0], denoise=0.5, seed=6, positive=["10", 0])
    found = said(**larger, n51=second, n10=DOG, n8=node("VAEDecode", samples=["51", 0]))
    assert found[0] == "a red circle"
    assert (found[2]["parameters"]["seed"], found[2]["parameters"]["width"]) == (5, 64)
    face = node("FaceDetailer", image=["8", 0], seed=9, steps=4, positive=["10", 0], negative=["7", 0], denoise=0.4)
    assert said(n60=face, n10=DOG, n9=node("SaveImage", images=["60", 0]))[0] == "a red circle"


def test_a_pass_without_noise_of_its_own_and_one_over_a_larger_picture_go_on_with_another(said):
    second = node("SamplerCustomAdvanced", noise=["26", 0], guider=["27", 0], sigmas=["17", 0], latent_image=["3", 0])
    guiders = {
        f"n{at}": node("BasicGuider", model=["4", 0], conditioning=[of, 0]) for at, of in ((22, "6"), (27, "10"))
    }
    found = said(
        **GUIDED, **guiders, n26=node("DisableNoise"), n28=second, n10=DOG, n8=node("VAEDecode", samples=["28", 0])
    )
    assert (found[0], found[2]["parameters"]["seed"]) == ("a red circle", 99)
    larger = sampler(upscaled_image=["61", 0], denoise=0.2, seed=9, positive=["10", 0])
    del larger["inputs"]["latent_image"]
    found = said(n60=larger, n61=node("ImageScale", image=["8", 0]), n10=DOG, n9=node("SaveImage", images=["60", 0]))
    assert (found[0], found[2]["parameters"]["seed"]) == ("a red circle", 5)


def test_a_graph_that_saves_pictures_of_several_samplers_says_so(said):
    other = sampler(positive=["10", 0], seed=8)
    found = said(n51=other, n10=DOG, n52=node("SaveImage", images=["51", 0]))
    assert found[0] == "a red circle"
    assert found[2]["source"]["notes"] == ["the graph saves pictures of node 51 (KSampler), too"]


def test_numbers_are_followed_to_the_nodes_that_hold_them_and_loras_listed_in_order(said):
    laid = {
        "n70": node("LoraLoader", lora_name="a.safetensors", strength_model=0.5, model=["4", 0], clip=["4", 1]),
        "n71": node("Power Lora Loader (rgthree)", model=["70", 0], lora_1={"on": True, "lora": "b.safetensors", "strength": 1},
                    lora_2={"on": False, "lora": "c.safetensors", "strength": 1}),
    }  # fmt: skip
    seeds = {"n40": node("Seed (rgthree)", seed=77), "n41": node("PrimitiveFloat", value=float("nan"))}
    found = said(n3=sampler(model=["71", 0], seed=["40", 0], cfg=["41", 0]), **laid, **seeds)[2]
    assert found["parameters"]["seed"] == 77 and "guidance_scale" not in found["parameters"]
    assert found["source"]["model"] == "sdxl.safetensors"
    assert found["source"]["loras"] == [
        {"name": "a.safetensors", "weight": 0.5},
        {"name": "b.safetensors", "weight": 1},
    ]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("CR LoRA Stack", {"switch_1": "On", "lora_name_1": "a", "model_weight_1": 0.5, "switch_2": "Off", "lora_name_2": "b", "lora_name_3": "None"}),
        ("LoRA Stacker", {"lora_count": 1, "lora_name_1": "a", "lora_wt_1": 0.5, "model_str_1": 1, "lora_name_2": "b", "lora_wt_2": 1}),
        ("LoRA Stacker", {"input_mode": "advanced", "lora_name_1": "a", "lora_wt_1": 1, "model_str_1": 0.5}),
        ("Lora Loader Stack (rgthree)", {"lora_01": "a", "strength_01": 0.5, "lora_02": "None", "strength_02": 1}),
        ("easy loraStack", {"toggle": True, "num_loras": 1, "lora_1_name": "a", "lora_1_strength": 0.5, "lora_2_name": "b"}),
        ("NunchakuFluxLoraLoader", {"lora_name": "a", "lora_strength": 0.5}),
        ("Efficient Loader", {"lora_name": "a", "lora_model_strength": 0.5}),
        ("LoraLoader|pysssss", {"lora_name": {"content": "a", "image": None}, "strength_model": 0.5}),
        ("Lora Loader (LoraManager)", {"loras": {"__value__": [{"name": "a", "strength": 0.5, "active": True}, {"name": "b", "active": False}]}}),
    ],
)  # fmt: skip
def test_each_way_to_lay_on_loras_is_listed_with_its_strength_and_without_what_is_off(said, kind, inputs):
    found = said(n3=sampler(model=["70", 0]), n70=node(kind, model=["4", 0], **inputs))[2]
    assert found["source"]["loras"] == [{"name": "a", "weight": 0.5}]


@pytest.mark.parametrize(
    ("kind", "inputs", "size"),
    [
        ("CR SDXL Aspect Ratio", {"width": 1024, "height": 1024, "aspect_ratio": "16:9 landscape 1344x768", "swap_dimensions": "Off"}, (1344, 768)),
        ("CR SDXL Aspect Ratio", {"width": 1024, "height": 1024, "aspect_ratio": "16:9 landscape 1344x768", "swap_dimensions": "On"}, (768, 1344)),
        ("CR SDXL Aspect Ratio", {"width": 640, "height": 512, "aspect_ratio": "custom"}, (640, 512)),
        ("SDXLEmptyLatentSizePicker+", {"resolution": "1152x896 (1.29)", "width_override": 0, "height_override": 512}, (1152, 512)),
        ("SomeSize", {"width": 640, "height": 512, "aspect_ratio": "3:4"}, (None, None)),
    ],
)  # fmt: skip
def test_a_size_from_a_list_goes_before_the_numbers_beside_it(said, kind, inputs, size):
    parameters = said(n5=node(kind, **inputs))[2]["parameters"]
    assert (parameters.get("width"), parameters.get("height")) == size


def test_a_number_drawn_by_lot_is_not_the_seed_it_was_drawn_with(said):
    drawn = node("Random Number", number_type="integer", minimum=0, maximum=10, seed=12345)
    assert "seed" not in said(n3=sampler(seed=["40", 0]), n40=drawn)[2]["parameters"]


def test_embeddings_of_both_sides_in_one_link_and_services_say_their_negative_prompt(tmp_path):
    kolors = {
        "2": node("KolorsTextEncode", prompt="a red circle", negative_prompt="blurry"),
        "4": node("KolorsSampler", kolors_embeds=["2", 0], width=64, height=96, seed=5, steps=4, cfg=5),
        "9": node("SaveImage", images=["4", 0]),
    }
    service = {
        "1": node("RecraftTextToImageNode", prompt="a red circle", seed=5, negative_prompt=["2", 0]),
        "2": node("PrimitiveString", value="blurry"),
    }
    for nodes in (kolors, service):
        found = prompt_of(png(tmp_path / "p.png", prompt=nodes))
        parameters = found["parameters"]
        assert (found["text"], parameters["negative_prompt"], parameters["seed"]) == ("a red circle", "blurry", 5)


def test_a_service_that_draws_by_itself_says_its_only_text(tmp_path):
    nodes = {"1": node("FluxProUltraImageNode", prompt="a red circle", seed=4), "2": node("SaveImage", images=["1", 0])}
    found = prompt_of(png(tmp_path / "p.png", prompt=nodes))
    assert (found["text"], found["parameters"]) == ("a red circle", {"seed": 4})
    two = {"1": node("CLIPTextEncode", text="blurry"), "2": node("CLIPTextEncode", text="a red circle")}
    assert "no sampler and 2 texts" in prompt_of(png(tmp_path / "p.png", prompt=two))


def test_graphs_that_double_their_text_or_go_on_for_ever_end_at_a_limit(said):
    doubled = {
        f"n{i}": node("StringConcatenate", string_a=[str(i + 1), 0], string_b=[str(i + 1), 0]) for i in range(100, 160)
    }
    chain = {f"n{i}": node("Reroute", **{"": [str(i + 1), 0]}) for i in range(100, 5_000)}
    joined = {
        f"n{i}": node("ConditioningCombine", conditioning_1=[str(i + 1), 0], conditioning_2=[str(i + 1), 0]) for i in range(100, 160)
    }  # fmt: skip
    started = time.process_time()
    first = node("CLIPTextEncode", text=["100", 0])
    assert "more than 100,000 characters" in said(n6=first, **doubled, n160=node("PrimitiveString", value="ab"))
    assert "cannot be followed" in said(n3=sampler(positive=["100", 0]), **chain)
    assert said(n3=sampler(positive=["100", 0]), **joined, n160=DOG)[0] == "a dog"
    assert time.process_time() - started < 5


def test_the_editors_graph_is_no_record_of_what_was_run_and_what_stands_beside_it_counts(tmp_path):
    flow = {"nodes": [{"id": 1, "type": "CLIPTextEncode", "widgets_values": ["a red circle"]}], "links": []}
    assert "save pictures with the graph that was run" in prompt_of(png(tmp_path / "p.png", workflow=flow))
    assert prompt_of(png(tmp_path / "q.png", workflow=flow, prompt=graph()))["text"] == "a red circle"

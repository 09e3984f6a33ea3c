"""Files damaged at random, as a broken download or another version of a library leaves them."""

import io
import json
import zipfile

import numpy as np


def flipped(data, rng, most=8):
    """The bytes with some of them others."""
    changed = bytearray(data)
    for place in rng.integers(0, len(changed), rng.integers(1, most)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def cut(data, rng):
    """The first bytes alone."""
    return data[: rng.integers(0, len(data))]


def changed_json(value, rng):
    """The value with one entry, at any depth, left out or replaced."""
    places = list(_places(value))
    holder, key = places[rng.integers(len(places))]
    other = (None, -1, 0, 2.5, "other", [], {}, True, ["a"], {"class_name": "LSTM"})
    choice = rng.integers(len(other) + 2)
    if choice < len(other):
        holder[key] = other[choice]
    else:
        del holder[key]
    return value


def _places(value):
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def archive(data, rng):
    """A .keras file with its configuration, or what is stored in it, changed."""
    held = zipfile.ZipFile(io.BytesIO(data))
    files = {name: held.read(name) for name in held.namelist()}
    if rng.integers(3):
        config = changed_json(json.loads(files["config.json"]), rng)
        files["config.json"] = json.dumps(config).encode()
    elif rng.integers(2):
        files["model.weights.h5"] = flipped(files["model.weights.h5"], rng, 200)
    else:
        del files[list(files)[rng.integers(len(files))]]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for name, content in files.items():
            target.writestr(name, content)
    return made.getvalue()


def model_h5(file, rng):
    """A file of h5: a group or array left out, of another shape or kind, or an attribute changed."""
    import h5py

    with h5py.File(file, "r+") as held:
        names = []
        held.visit(names.append)
        name = names[rng.integers(len(names))]
        choice = rng.integers(4)
        if choice == 0:
            del held[name]
        elif choice == 1:
            del held[name]
            held[name] = [np.zeros(3), np.zeros((0, 4)), np.array(b"text"), np.zeros((2, 2), int)][
                rng.integers(4)
            ]
        else:
            groups = [held, *(held[n] for n in names)]
            attributes = [(group, key) for group in groups for key in group.attrs]
            group, key = attributes[rng.integers(len(attributes))] if attributes else (held, "layer_names")
            if choice == 2 and key in group.attrs:
                del group.attrs[key]
            elif key == "model_config" and isinstance(group.attrs[key], str):
                group.attrs[key] = json.dumps(changed_json(json.loads(group.attrs[key]), rng))
            else:
                group.attrs[key] = [5, "{}", "[]", [1, 2], np.array(["a", "b"], dtype=object)][
                    rng.integers(5)
                ]


def onnx_model(model, rng):
    """An ONNX model with a part of one node, input or array changed."""
    from onnx import helper

    graph, choice = model.graph, rng.integers(12)
    node = graph.node[rng.integers(len(graph.node))]
    tensor = graph.initializer[rng.integers(len(graph.initializer))] if graph.initializer else None
    if choice == 0 and node.attribute:
        del node.attribute[rng.integers(len(node.attribute))]
    elif choice == 1 and tensor is not None:
        tensor.data_type = int(rng.choice([0, 7, 8, 10, 16, 46, 99]))
    elif choice == 2 and tensor is not None:
        tensor.dims[:] = [int(n) for n in rng.integers(-2, 5, rng.integers(0, 5))]
    elif choice == 3:
        graph.node.insert(rng.integers(len(graph.node)), helper.make_node("Constant", [], [f"none{choice}"]))
    elif choice == 4 and node.input:
        node.input[rng.integers(len(node.input))] = str(rng.choice(["", "nothing", "x"]))
    elif choice == 5 and node.attribute:
        attribute = node.attribute[rng.integers(len(node.attribute))]
        other = [0, -1, 2**40, 2.5, "other", [1, 2], [], ["Tanh"], b"\xff\xfe"][rng.integers(9)]
        kind = {"attr_type": 7} if other == [] else {}
        attribute.CopyFrom(helper.make_attribute(attribute.name, other, **kind))
    elif choice == 6 and node.attribute:
        node.attribute[rng.integers(len(node.attribute))].type = int(rng.integers(0, 15))
    elif choice == 7:
        node.op_type = str(rng.choice(["LSTM", "GRU", "RNN", "Elu", "If", "NoSuchNode", ""]))
    elif choice == 8:
        model.opset_import[0].version = int(rng.choice([0, 1, 7, 99, 2**40]))
    elif choice == 9:
        kind = graph.input[0].type.tensor_type
        if rng.integers(2):
            kind.elem_type = int(rng.choice([0, 7, 46]))
        elif kind.shape.dim:
            kind.shape.dim[rng.integers(len(kind.shape.dim))].dim_value = int(rng.choice([0, -3, 2**40, 5]))
    elif choice == 10:
        del graph.node[rng.integers(len(graph.node))]
    else:
        known = {"clip": 1.0, "direction": "sideways", "layout": 5, "hidden_size": -1, "activations": ["Elu"]}
        name = list(known)[rng.integers(len(known))]
        node.attribute.append(helper.make_attribute(name, known[name]))
    return model

"""The rules of MVBench and MLVU, whose prompts let the model continue `Best option:(`.

See `docs/reference/benchmarks.md`, sections 2 and 5.
"""

from sg.artefacts.answer_rules.question import Question, Reading

PREFILL = "("
"""The end of the text that the model continues; the rule of MVBench puts it before the response."""


def task_file(task: str) -> str:
    """The name of a task in files: `Fine-grained Pose` is `fine_grained_pose`."""
    return task.lower().replace(" ", "_").replace("-", "_")


def _accepts(reply: str, letter: str) -> bool:
    """Whether `reply` counts as the option `letter`: the first word of one is a part of that of the other."""
    word, right = reply.lower().split(" ")[0], f"({letter.lower()})"
    return word.replace(".", "") in right or right in word


def _reading(question: Question, reply: str) -> Reading:
    accepted = [letter for letter in question.letters if _accepts(reply, letter)]
    # An empty reply fits every option, so the official score counts it as right; it chooses none.
    return Reading(accepted[0] if len(accepted) == 1 else "", int(_accepts(reply, question.answer)))


def read_mvbench(question: Question, response: str) -> Reading:
    """The official rule on the first line of a response to the prefilled prompt; an empty response counts as right."""
    return _reading(question, PREFILL + response.strip().split("\n")[0])


def read_mvbench_bare(question: Question, response: str) -> Reading:
    """The official rule on a response to a prompt that is not prefilled."""
    return _reading(question, response)


def read_mlvu(question: Question, response: str) -> Reading:
    """The official rule of MLVU: the text before the first `)` is the letter, exactly."""
    letter = response.strip().split(")")[0]
    return Reading(letter if len(letter) == 1 and letter in question.letters else "", int(letter == question.answer))

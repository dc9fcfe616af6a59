"""Scores by task type and by domain of the questions."""

from collections.abc import Iterator

from sg.report.numbers.study import Study
from sg.report.numbers.summary import TopicRow

TASK_TYPE, DOMAIN = "task_type", "domain"


def topic_rows(study: Study, setting: str) -> Iterator[TopicRow]:
    """One row per arm and per task type or domain in one setting; questions without a name are left out."""
    kinds = {TASK_TYPE: study.questions.task_types, DOMAIN: study.questions.domains}
    for kind, labels in kinds.items():
        for name in sorted(set(labels.tolist()) - {""}):
            mask = labels == name
            scores = study.scores(setting, mask)
            for arm in (*study.finished, *study.controls):
                own = scores.by_name.get(arm.name)
                if own is None:
                    continue
                delta = None if arm.is_baseline else scores.difference(arm, study.baseline)
                yield TopicRow(
                    kind, name, setting, arm.name, arm.label, arm.scale, arm.control, int(mask.sum()), own.value, delta
                )

"""One agent that answers questions from a handbook: numbers of questions as lines in, judged answers as JSON lines out.

    OPENAI_BASE_URL=… perfopt run --home … -- python answer.py whole|oracle

`whole` sends all sections with every question, and leaves it to the policies in force what of them goes out; `oracle` sends the
one section that is needed. What is judged also goes out as evaluation events of the command.
"""

from __future__ import annotations

import json
import sys
import time

from openai import OpenAI
from questions import handbook, judge, questions, services

from otel_perfopt import command, feedback

TASK = "You answer questions from the handbook in one short sentence."


def main() -> None:
    sections = services()
    asked = {question.number: question for question in questions(sections)}
    client = OpenAI(api_key="not-needed", max_retries=0, timeout=300.0)
    print(json.dumps({"kind": "ready"}), flush=True)
    for line in sys.stdin:
        question = asked[int(line)]
        text = question.service.section if sys.argv[1] == "oracle" else handbook(question.service, sections)
        messages = [
            {"role": "system", "content": f"{TASK}\n\n# Reference\n\n{text}"},
            {"role": "user", "content": question.text},
        ]
        with command("/query", conversation_id=f"question-{question.number}"):
            began = time.perf_counter()
            reply = client.chat.completions.create(model="smollm2", messages=messages, temperature=0, max_tokens=48)
            seconds, answer = time.perf_counter() - began, reply.choices[0].message.content or ""
            scores = judge(question, answer, sections)
            for name in ("accuracy", "completeness", "relevance"):
                feedback(getattr(scores, name), name=name)
        row = {
            "kind": "answer",
            "question": question.text,
            "facts": len(question.facts),
            "answer": answer,
            "seconds": seconds,
        }
        scored = {name: getattr(scores, name) for name in ("accuracy", "completeness", "relevance")}
        print(json.dumps({**row, **scored, "prompt": reply.usage.prompt_tokens}), flush=True)


if __name__ == "__main__":
    main()

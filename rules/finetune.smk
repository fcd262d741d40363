"""Fine-tuning: one arm of one model with one seed.

In: the arm's dataset and the base model. Out: data/checkpoints/{study}/{model}/{variant}/seed{seed}, a folder that
`from_pretrained` loads, and beside it seed{seed}.steps with such a folder for each checkpoint on the way.
"""


rule finetune:
    input:
        lambda w: behind(trained_on(w), *checkpoints(w), *refused_requests(w)),
        dataset=trained_on,
        checkpoints=checkpoints,
        requests=refused_requests,
        neurons=frozen_neurons,
    output:
        folder=directory(CHECKPOINT),
        receipt=receipt(CHECKPOINT),
        steps=directory(f"{CHECKPOINT}.steps"),
        steps_receipt=receipt(f"{CHECKPOINT}.steps"),
    log:
        f"{LOG}/finetune/{{model}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{TIMING}/finetune/{{model}}/{{variant}}/seed{{seed}}.tsv"
    wildcard_constraints:
        variant=any_of(STUDY.variants),
    conda:
        TRAIN_ENV
    threads: STUDY.threads
    resources:
        gpu=gpus("finetune"),
        mem_mb=memory,
        runtime=minutes("finetune"),
    params:
        code=code("finetune", TRAIN_ENV),
        settings=lambda w: model_settings(
            w,
            recipe=STUDY.finetune_of(w.variant),
            rows=STUDY.variants[w.variant].rows,
            mitigation=STUDY.variants[w.variant].mitigation,
        ),
    shell:
        "rim finetune --log {log} --threads {threads} --gpus {resources.gpu} --settings {params.settings:q} --dataset {input.dataset}"
        " --checkpoints {input.checkpoints} --requests {input.requests} --neurons {input.neurons} --output {output.folder} --steps {output.steps}"

"""Full fine-tuning trains what MV-Adapter and VoP count as all of CLIP."""

from pipeline import methods

SHAPE = methods.Shape(num_frames=12, num_words=32)


def count(clip, **config):
    methods.attach(clip, methods.load("full_finetune", config=config), shape=SHAPE)
    number = sum(p.numel() for p in clip.trained().values())
    clip.detach_all()
    return number


def test_vit_b32_has_151_277_313_trainable_parameters_with_the_temperature(base_clip):
    assert count(base_clip, train_logit_scale=True) == 151_277_313
    assert count(base_clip) == 151_277_312

"""Checkpoints of a real training by stable-baselines3: `rl_model_N_steps.zip`, a zip of torch files."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def trained(library, tmp_path_factory):
    """PPO on an environment of its own; returns the folder and the policy's weights at each checkpoint."""
    folder = tmp_path_factory.mktemp("ppo")
    kept = {}
    with library(), torch.random.fork_rng(devices=[]):
        import gymnasium
        from stable_baselines3 import PPO
        from stable_baselines3.common.callbacks import BaseCallback, CallbackList, CheckpointCallback

        class Guess(gymnasium.Env):
            observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
            action_space = gymnasium.spaces.Discrete(2)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed, options=options)
                self.num_steps = 0
                return self.observation_space.sample(), {}

            def step(self, action):
                self.num_steps += 1
                return self.observation_space.sample(), float(action), self.num_steps >= 10, False, {}

        class Keeper(BaseCallback):
            def _on_step(self):
                if self.n_calls % 40 == 0:
                    kept[self.num_timesteps] = {n: t.clone() for n, t in self.model.policy.state_dict().items()}
                return True

        model = PPO("MlpPolicy", Guess(), n_steps=20, batch_size=10, n_epochs=2, seed=0, device="cpu")
        model.learn(120, CallbackList([CheckpointCallback(40, folder, save_vecnormalize=True), Keeper()]))
    return folder, kept


def test_every_checkpoint(trained, analyze, check):
    folder, kept = trained
    assert sorted(path.name for path in folder.iterdir()) == [f"rl_model_{n}_steps.zip" for n in (120, 40, 80)]
    assert list(kept) == [40, 80, 120]
    series = analyze(folder)
    check(series, list(kept.values()), steps=[40, 80, 120], tied=())

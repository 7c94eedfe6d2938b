"""One row for every plot of the gradient-flow report: key, axes with units, scales, caption, words."""

from recur.report import _words_static as static
from recur.report import _words_training as training
from recur.report._plot_data import LN10, Plot

LAGS = "Gradient by lag"
LENGTHS = "Does the length of the sequence matter?"
PARAMETERS = "Gradient of the parameters by sequence length"
SPECTRUM = "Directions: Lyapunov exponents and singular values"
MEMORY = "Memory by design, and what it costs"
NUMBERS = "Number formats"
TRAINING = "During and after training"
TASKS = "Tasks solved"
SECTIONS = (LAGS, LENGTHS, PARAMETERS, TRAINING, TASKS, SPECTRUM, MEMORY, NUMBERS)

PLOTS: dict[str, Plot] = {
    "loss_gradient": Plot(
        title="Gradient of your loss by distance from the end",
        section=LAGS,
        x_label="steps from the end that the layer runs to",
        y_label="gradient norm / the largest",
        y_scale="decades",
        level=0.0,
        caption="How strongly your own loss pulls at the state so many steps before the end of each sequence, relative "
        "to where it pulls most: the median over sequences, as far as at least half of them reach.",
        x_word="distance",
        words=static.loss_gradient,
    ),
    "trained_lag": Plot(
        title="Gradient by lag, before and after training",
        section=TRAINING,
        x_label="lag k in steps",
        y_label="gradient norm A(k) / A(0)",
        y_scale="decades",
        level=0.0,
        caption="How strongly the loss pulls at the state k steps back, relative to the last state, on a task whose "
        "lag is known. A line that lies higher after training than before has learnt to reach further back. The axis "
        "ends at 10⁻¹²: what lies below teaches nothing.",
        lowest=-12 * LN10,
        words=training.trained_lag,
        spoken=training.TOLD,
        mark=training.task_lag,
    ),
    "lag_shares": Plot(
        title="What each step back adds to the parameter gradient",
        section=PARAMETERS,
        x_label="lag k in steps",
        y_label="share of the gradient ‖dL/dθ‖",
        y_scale="decades",
        caption="The parameter gradient taken apart by lag. The norm over all lags hides this: a few recent steps "
        "make it up, and it looks healthy while the distant ones add nothing.",
        words=static.lag_shares,
    ),
    "training_heatmap": Plot(
        title="Gradient by lag while training",
        section=TRAINING,
        x_label="training step",
        y_label="lag k in steps",
        shape="heatmap",
        split="cell",
        color_label="gradient norm A(k) / A(0)",
        caption="Each column is a lag curve at one training step; bright is strong. A bright region that grows "
        "upwards is a memory that gets longer. The axis ends where all columns are dark.",
        words=training.training_heatmap,
    ),
    "lyapunov_spectrum": Plot(
        title="Spectrum of Lyapunov exponents",
        section=SPECTRUM,
        x_label="rank i / n",
        y_label="exponent in nats a step",
        split="task",
        level=0.0,
        caption="The long-term growth of every direction of the state, sorted. Above zero directions grow, at zero "
        "they last, below they are forgotten. Few exponents near zero: few directions carry memory.",
        x_word="i / n",
        words=static.lyapunov_spectrum,
    ),
    "gain": Plot(
        title="Largest exponent by recurrent gain",
        section=SPECTRUM,
        x_label="gain g of the recurrent matrix",
        y_label="exponent λ₁ in nats a step",
        level=0.0,
        caption="A random tanh network turns from forgetting (below zero) to chaos (above) as its weights grow. "
        "Theory holds for infinitely many units; finite networks turn later and vary from draw to draw.",
        x_word="gain",
        words=static.gain,
    ),
    "condition_number": Plot(
        title="Condition number of the Jacobian over k steps",
        section=SPECTRUM,
        x_label="lag k in steps",
        y_label="condition number κ",
        y_scale="decades",
        caption="Ratio of the most to the least amplified direction. It grows as the exponents λ₁ − λₙ predict; once "
        "it is large, the gradient that arrives holds little but one direction.",
        words=static.condition_number,
    ),
    "singular_values": Plot(
        title="Singular values of the Jacobian over k steps",
        section=SPECTRUM,
        x_label="ln σ / k in nats a step",
        y_label="density / its peak",
        shape="histogram",
        split="cell",
        caption="How much each direction grows or shrinks a step, over k steps. With growing k the histogram "
        "settles on the Lyapunov exponents. A colour is a number of steps k here.",
        words=static.singular_values,
    ),
    "forget_bias": Plot(
        title="Time constant: predicted and measured",
        section=MEMORY,
        x_label="predicted from the forget gate, steps",
        y_label="measured, steps",
        x_scale="log",
        y_scale="log",
        caption="Forget bias and chrono initialisation choose how long a gated cell remembers. Points on the "
        "dashed line do what was predicted.",
        x_word="a predicted",
        words=static.forget_bias,
        spoken=(static.HALF_LIFE,),
    ),
    "gradient_snr": Plot(
        title="Signal to noise of the gradient by lag",
        section=MEMORY,
        x_label="lag k in steps",
        y_label="squared mean / variance",
        y_scale="decades",
        level=0.0,
        unmeasured="no signal above the noise",
        caption="The mean gradient of each lag over sequences against its scatter from sequence to sequence. Far "
        "below 1 the learner follows noise: a gradient need not vanish to be useless.",
        words=static.gradient_snr,
    ),
    "samples_needed": Plot(
        title="Sequences needed to see a lag",
        section=MEMORY,
        x_label="lag k in steps",
        y_label="sequences",
        y_scale="decades",
        unmeasured="more than can be told",
        caption="How many sequences must be averaged until the gradient of lag k stands out of its noise.",
        words=static.samples_needed,
    ),
    "memory_curse": Plot(
        title="Sensitivity to a parameter by length of memory",
        section=MEMORY,
        x_label="memory 1 / (1 − |λ|) in steps",
        y_label="sensitivity E(dh/dθ)²",
        x_scale="log",
        y_scale="decades",
        x_of=lambda size: 1 / (1 - size),
        caption="How much a small change of a parameter moves the state. It grows with memory though no Jacobian "
        "exceeds 1, so a long memory wants a small learning rate or another parametrisation.",
        x_word="a memory of",
        words=static.memory_curse,
    ),
    "precision": Plot(
        title="Where number formats break",
        section=NUMBERS,
        x_label="lag k in steps",
        y_label="gradient norm ‖dL(T) / ds(T−k)‖",
        y_scale="decades",
        split="cell",
        layered=True,
        caption="The same gradient computed plainly in several formats and in log space. A line that ends with a "
        "mark under- or overflowed there: the gradient is not zero, and the format holds none of its entries.",
        words=static.precision,
    ),
    "gate_statistics": Plot(
        title="Gates while training",
        section=TRAINING,
        x_label="training step",
        y_label="mean, or share saturated",
        split="cell",
        hue=("gate",),
        dash=("run", "statistic"),
        caption="The mean of each gate, and the share of its values that are saturated (near an end of their range), "
        "where no gradient passes. A colour is a gate here.",
        x_word="step",
        words=training.gate_statistics,
    ),
    "task_success": Plot(
        title="Share of seeds that solve the task",
        section=TASKS,
        x_label="sequence length T in steps",
        y_label="share of seeds",
        x_scale="log",
        split="task",
        caption="At one fixed budget for every cell. Where lines meet they are drawn a little apart.",
        x_word="T",
        y_range=(0.0, 1.0),
        words=training.task_success,
    ),
    "horizon_solved": Plot(
        title="Does the horizon at initialisation foretell what is solved?",
        section=TASKS,
        x_label="horizon at initialisation, steps",
        y_label="longest T solved, steps",
        shape="scatter",
        x_scale="log",
        y_scale="log",
        caption="Horizon: the lag to which a thousandth of the gradient reaches before any training. Every point is "
        "a cell with an initialiser, trained at the same budget.",
        words=training.horizon_solved,
        spoken=(training.CORRELATION,),
    ),
}

# What a reader with five minutes sees first: the first three of these that a run has.
FIRST = (
    "lag_adjoint",
    "loss_gradient",
    "trained_lag",
    "horizon_solved",
    "parameter_norms",
    "forget_bias",
    "gain",
    "precision",
)
# What stands beside a plot and is read with it.
BESIDE = {"parameter_norms": "lag_shares"}

// What a lane adds up while it compares a column.

// Of a column, all but the unit in units of it: squares of it, or its fourth power for tolerance_tolerance.
struct Sums {
    unit: real,
    numeric_numeric: real,
    error_numeric: real,
    error_error: real,
    tolerance_tolerance: real,
    tolerance_numeric: real,
    noise_numeric: real,
    numeric_abs: real,
}

fn add(sums: ptr<function, Sums>, a: real, g: real, held: Held) {
    if (abs(g) > (*sums).unit) {
        let shrink = (*sums).unit / abs(g);
        let square = shrink * shrink;
        (*sums).numeric_numeric *= square;
        (*sums).error_numeric *= square;
        (*sums).error_error *= square;
        (*sums).tolerance_tolerance *= square * square;
        (*sums).tolerance_numeric *= square;
        (*sums).noise_numeric *= square;
        (*sums).numeric_abs *= shrink;
        (*sums).unit = abs(g);
    }
    if ((*sums).unit > 0.0) {
        let x = g / (*sums).unit;
        let error = (a - g) / (*sums).unit;
        let tolerance = held.tolerance / (*sums).unit * abs(x);
        (*sums).numeric_numeric += x * x;
        (*sums).error_numeric += error * x;
        (*sums).error_error += error * error;
        (*sums).tolerance_tolerance += tolerance * tolerance;
        (*sums).tolerance_numeric += tolerance;
        (*sums).noise_numeric += held.noise / (*sums).unit * abs(x);
        (*sums).numeric_abs += abs(x);
    }
}

// Of all entries: three that are summed, seven of which the largest counts, and the least relative error that would be seen.
struct Totals {
    rel_err: real,
    undecided: real,
    suspects: real,
    max_rel_err: real,
    severity: real,
    zeroed: real,
    flipped: real,
    scaled: real,
    shuffled: real,
    moved: real,
    least: real,
}

fn count(totals: ptr<function, Totals>, a: real, next: real, g: real, rel_err: real, held: Held) {
    let allowed = held.tolerance + held.noise;
    let error = abs(a - g);
    (*totals).rel_err += rel_err;
    (*totals).undecided += select(real(0.0), real(1.0), held.is_undecided);
    (*totals).suspects += select(real(0.0), real(1.0), held.is_suspect);
    (*totals).max_rel_err = max((*totals).max_rel_err, rel_err);
    if (error > 0.0) {
        (*totals).severity = max((*totals).severity, error / allowed);
    }
    // Corrupted copies of the gradient go through the same comparison.
    (*totals).zeroed = select((*totals).zeroed, real(1.0), abs(g) > allowed);
    (*totals).flipped = select((*totals).flipped, real(1.0), abs(a + g) > allowed);
    (*totals).scaled = select((*totals).scaled, real(1.0), abs(1.5 * a - g) > allowed);
    (*totals).shuffled = select((*totals).shuffled, real(1.0), abs(next - g) > allowed);
    (*totals).moved = select((*totals).moved, real(1.0), next != a);
    if (abs(g) > 0.0) {
        (*totals).least = min((*totals).least, allowed / abs(g));
    }
}

#pragma once

#include <cstdint>

namespace bliss::simulator {

/// Numbers of steps (SampleRange::step) that no training comes to. Whatever is simulated beside the steps of a training has one of its own:
/// with equal seeds, too, no two make the same image.
enum ReservedStep : std::uint32_t {
    k_validation_step = 0xFFFFFFFF,       ///< images that averaged weights are judged on while they train
    k_frames_step = 0xFFFFFFFE,           ///< frames of `simulate`
    k_width_step = 0xFFFFFFFD,            ///< images that widths are fitted to
    k_stripe_step = 0xFFFFFFFC,           ///< fields of a stripe
    k_stripe_seeing_step = 0xFFFFFFFB,    ///< what changes slowly along a stripe
    k_stripe_sky_step = 0xFFFFFFFA,       ///< sources of a stripe's sky
    k_galaxies_judged_step = 0xFFFFFFF0,  ///< stamps that a galaxy decoder is judged on
    k_model_judged_step = 0xFFFFFFD0,     ///< images of `evaluate MODEL`: from here down
    k_galaxies_coded_step = 0xFFFFFF00,   ///< stamps whose codes couplings are fitted to: from here up
};

}  // namespace bliss::simulator

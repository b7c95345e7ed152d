#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/core/config.hpp"

#include <c10/core/Device.h>

namespace bliss::encoder {

/// Arithmetic of the convolutions; weights, heads and losses are always float32.
enum class Precision {
    automatic,  ///< bfloat16 where every rank's processor or GPU computes it, else float32
    float32,
    bfloat16,
};

/// The configuration key "precision".
void describe_precision(ConfigVisitor& visitor, Precision& precision);

/// Float32 or bfloat16, the same on all ranks: a catalogue must not depend on which rank took which field.
/// @param device that computes; every GPU has bfloat16
/// @throws ConfigError on all ranks where bfloat16 is asked for and a rank's processor has none. @collective
[[nodiscard]] Precision choose_precision(Precision asked, const comm::Communicator& comm, c10::Device device = c10::kCPU);

}  // namespace bliss::encoder

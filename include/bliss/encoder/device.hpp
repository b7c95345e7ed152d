#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/core/config.hpp"

#include <c10/core/Device.h>

namespace bliss::encoder {

/// Where the networks compute.
enum class DeviceChoice {
    automatic,  ///< on GPUs where every rank sees one, else on cores
    cpu,
    cuda,
};

/// The configuration key "device".
void describe_device(ConfigVisitor& visitor, DeviceChoice& device);

/// This rank's device, of one kind on all ranks: a catalogue must not depend on which rank took which field. Ranks of a node take its GPUs
/// in turn, by their number on the node. On a GPU the same numbers come out of the same kind of GPU every time.
/// @throws ConfigError on all ranks where GPUs are asked for and a rank sees none. @collective
[[nodiscard]] c10::Device choose_device(DeviceChoice asked, const comm::Communicator& comm);

}  // namespace bliss::encoder

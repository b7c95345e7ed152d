#pragma once

namespace bliss::encoder {

/// Whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX).
[[nodiscard]] bool processor_has_bfloat16();

}  // namespace bliss::encoder

#include "bliss/encoder/precision.hpp"

#include <ATen/cpu/Utils.h>

namespace bliss::encoder {

bool processor_has_bfloat16() {
    const auto capabilities = at::cpu::get_cpu_capabilities();
    const auto has = [&](const char* name) {
        const auto found = capabilities.find(name);
        return found != capabilities.end() && found->second.isBool() && found->second.toBool();
    };
    return has("avx512_bf16") || has("amx_bf16");
}

}  // namespace bliss::encoder

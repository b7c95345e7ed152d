#pragma once

#include <string_view>

namespace bliss {

/// What a user can do about a system's error of reading or writing, "; free space or give another --output".
[[nodiscard]] std::string_view io_advice(int error_number);

}  // namespace bliss

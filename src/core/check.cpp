#include "bliss/core/check.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace bliss::detail {

void contract_violated(std::string_view kind, std::string_view condition, std::string_view message, std::string_view file,
                       int line) {
    throw std::logic_error(fmt::format("{}:{}: {} violated: {} ({})", file, line, kind, message, condition));
}

}  // namespace bliss::detail

#include "bliss/core/log.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>

namespace bliss {

void start_log(int rank, int ranks, Verbosity verbosity) {
    auto logger = std::make_shared<spdlog::logger>("bliss", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    const std::string who = ranks > 1 ? fmt::format(" [rank {}]", rank) : std::string{};
    logger->set_pattern("%H:%M:%S %^%l%$" + who + " %v");
    auto level = spdlog::level::info;
    if (verbosity == Verbosity::debug) level = spdlog::level::debug;
    if (verbosity == Verbosity::quiet || rank != 0) level = spdlog::level::warn;
    logger->set_level(level);
    spdlog::set_default_logger(std::move(logger));
}

}  // namespace bliss

#include "bliss/core/interrupt.hpp"

#include <atomic>
#include <csignal>

namespace bliss {
namespace {

/// A signal's handler reaches nothing but what is global.
std::atomic<bool> g_stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int signal) {
    g_stop_requested = true;
    if (signal == SIGTERM) std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

void stop_on_signals() {
    struct sigaction action{};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
}

bool stop_requested() { return g_stop_requested; }

}  // namespace bliss

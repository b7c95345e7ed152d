#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/encoder/tensor_file.hpp"
#include "trainer_impl.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <charconv>
#include <string>
#include <vector>

namespace bliss::training {
namespace {

/// By kind.
const std::array<std::string, 2> k_network_names{"detection", "sources"};

/// What a file's metadata say under this name; empty where they say nothing.
std::string text_of(const encoder::TensorFile& file, const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string{} : found->second;
}

/// @throws DataError where a file is no checkpoint of this configuration
void check_configuration(const encoder::TensorFile& file, const std::filesystem::path& path, const TrainingConfig& config) {
    if (text_of(file, "format") != "bliss-checkpoint") {
        throw DataError(fmt::format("{}: not a bliss checkpoint; use --fresh to start over", path.string()));
    }
    const std::string mine = to_toml(config, false), its = text_of(file, "configuration");
    if (its != mine) {
        throw DataError(
            fmt::format("{}: the checkpoint is of another configuration (SHA256 {:.12}, this run's {:.12}); use --fresh to "
                        "start over or another --output",
                        path.string(), sha256_of_text(its), sha256_of_text(mine)));
    }
}

/// Of the galaxy decoder's weights; empty without one.
std::string galaxies_sha256(const encoder::Model& model) {
    if (!model.galaxies) return {};
    std::string bytes;
    for (const auto& item : model.galaxies->decoder->named_parameters()) {
        const at::Tensor weights = item.value().detach().contiguous();
        bytes.append(static_cast<const char*>(weights.data_ptr()), static_cast<std::size_t>(weights.numel()) * sizeof(float));
    }
    return sha256_of_text(bytes);
}

}  // namespace

void Trainer::save_checkpoint(const std::filesystem::path& path, const std::string& notes) {
    encoder::TensorFile file;
    for (std::size_t kind = 0; kind < impl_->parameters.size(); ++kind) {
        for (auto& [name, tensor] : impl_->parameters[kind].state()) file.tensors.emplace(k_network_names[kind] + "." + name, tensor);
    }
    file.metadata = {{"format", "bliss-checkpoint"},
                     {"step", std::to_string(impl_->steps_done)},
                     {"skipped", std::to_string(impl_->steps_skipped)},
                     {"optimiser_steps", std::to_string(impl_->parameters.front().steps())},
                     {"notes", notes},
                     {"computed", impl_->computed()},
                     {"configuration", to_toml(impl_->config, false)},
                     {"galaxies", galaxies_sha256(impl_->model)}};
    encoder::write_tensor_file(path, file);
}

std::filesystem::path choose_checkpoint(const std::vector<std::filesystem::path>& newest_first, const TrainingConfig& config) {
    for (const std::filesystem::path& path : newest_first) {
        encoder::TensorFile file;
        try {
            file = encoder::read_tensor_file(path);
        } catch (const DataError& error) {
            if (path == newest_first.back()) throw DataError(fmt::format("{}; use --fresh to start over", error.what()));
            spdlog::warn("{}: the checkpoint before it is tried", error.what());
            continue;
        }
        check_configuration(file, path, config);
        return path;
    }
    return {};
}

std::string problem_with_checkpoint(const std::filesystem::path& path, const TrainingConfig& config, std::int64_t step) {
    try {
        const encoder::TensorFile file = encoder::read_tensor_file(path);
        check_configuration(file, path, config);
        const std::string of_file = text_of(file, "step");
        return of_file == std::to_string(step) ? std::string{} : fmt::format("{}: is of step {}, not {}", path.string(), of_file, step);
    } catch (const DataError& error) {
        return error.what();
    }
}

std::string Trainer::load_checkpoint(const std::filesystem::path& path) {
    const encoder::TensorFile file = encoder::read_tensor_file(path);
    check_configuration(file, path, impl_->config);
    const auto text = [&](const char* key) { return text_of(file, key); };
    if (text("galaxies") != galaxies_sha256(impl_->model)) {
        throw DataError(
            fmt::format("{}: the checkpoint was trained with other galaxies than this run's; use --fresh to start over", path.string()));
    }
    if (text("computed") != impl_->computed()) {
        spdlog::warn("{}: was computed on {}, and the training goes on on {}: its bits differ from here on", path.string(),
                     text("computed"), impl_->computed());
    }
    const auto number = [&](const char* key) {
        std::int64_t value = 0;
        const std::string of_file = text(key);
        if (std::from_chars(of_file.data(), of_file.data() + of_file.size(), value).ec == std::errc{}) return value;
        throw DataError(fmt::format("{}: the checkpoint's {} '{}' is no number; use --fresh to start over", path.string(), key, of_file));
    };
    const auto fill = [&](const std::string& network, FlatParameters& parameters) {
        for (auto& [name, tensor] : parameters.state()) {
            const auto found = file.tensors.find(network + name);
            if (found == file.tensors.end() || found->second.sizes() != tensor.sizes()) {
                throw DataError(fmt::format("{}: the checkpoint's '{}{}' does not fit this model; use --fresh to start over", path.string(),
                                            network, name));
            }
            const torch::NoGradGuard no_grad;
            tensor.copy_(found->second);
        }
        parameters.set_steps(number("optimiser_steps"));
    };
    impl_->steps_done = number("step");
    impl_->steps_skipped = number("skipped");
    for (std::size_t kind = 0; kind < impl_->parameters.size(); ++kind) fill(k_network_names[kind] + ".", impl_->parameters[kind]);
    return text("notes");
}

void Trainer::save_model(const std::filesystem::path& path, const std::string& metrics_json) {
    Impl& self = *impl_;
    self.model.card = make_card(self.config, self.steps_done, metrics_json);
    self.swap_averages();
    encoder::save_model(path, self.model);
    self.swap_averages();
}

}  // namespace bliss::training

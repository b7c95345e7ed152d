#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/encoder/tensor_file.hpp"
#include "trainer_impl.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <string>

namespace bliss::training {
namespace {

/// By kind.
const std::array<std::string, 3> k_network_names{"detection", "classification", "galaxy"};

/// What a file's metadata say under this name; empty where they say nothing.
std::string text_of(const encoder::TensorFile& file, const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string{} : found->second;
}

/// A checkpoint of this configuration. @throws DataError
encoder::TensorFile read_checkpoint(const std::filesystem::path& path, const TrainingConfig& config) {
    encoder::TensorFile file = encoder::read_tensor_file(path);
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
    return file;
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

void Trainer::save_checkpoint(const std::filesystem::path& path, const std::string& metrics_json) {
    encoder::TensorFile file;
    for (std::size_t kind = 0; kind < impl_->parameters.size(); ++kind) {
        for (auto& [name, tensor] : impl_->parameters[kind].state()) file.tensors.emplace(k_network_names[kind] + "." + name, tensor);
    }
    file.metadata = {{"format", "bliss-checkpoint"},
                     {"step", std::to_string(impl_->steps_done)},
                     {"metrics", metrics_json},
                     {"configuration", to_toml(impl_->config, false)},
                     {"galaxies", galaxies_sha256(impl_->model)}};
    encoder::write_tensor_file(path, file);
}

void check_checkpoint(const std::filesystem::path& path, const TrainingConfig& config) { (void)read_checkpoint(path, config); }

std::string Trainer::load_checkpoint(const std::filesystem::path& path) {
    const encoder::TensorFile file = read_checkpoint(path, impl_->config);
    const auto text = [&](const char* key) { return text_of(file, key); };
    if (text("galaxies") != galaxies_sha256(impl_->model)) {
        throw DataError(
            fmt::format("{}: the checkpoint was trained with other galaxies than this run's; use --fresh to start over", path.string()));
    }
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
        parameters.set_step(impl_->steps_done);
    };
    const std::string step = text("step");
    if (std::from_chars(step.data(), step.data() + step.size(), impl_->steps_done).ec != std::errc{}) {
        throw DataError(fmt::format("{}: the checkpoint's step '{}' is no number; use --fresh to start over", path.string(), step));
    }
    for (std::size_t kind = 0; kind < impl_->parameters.size(); ++kind) fill(k_network_names[kind] + ".", impl_->parameters[kind]);
    return text("metrics");
}

void Trainer::save_model(const std::filesystem::path& path, const std::string& metrics_json) {
    Impl& self = *impl_;
    self.model.card = make_card(self.config, self.steps_done, metrics_json);
    self.swap_averages();
    encoder::save_model(path, self.model);
    self.swap_averages();
}

}  // namespace bliss::training

"""A device's files as NVIDIA's documents describe them: those of a Jetson Orin Nano with JetPack 6.2."""

from __future__ import annotations

from pathlib import Path

RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n"
    "# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"
)
NVPMODEL = """\
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1
< PM_CONFIG DEFAULT=1 >
"""
ORIN_NANO = (
    "01-08-2025 10:11:12 RAM 2448/7620MB (lfb 7x4MB) SWAP 12/3810MB (cached 0MB) "
    "CPU [12%@1728,3%@1728,0%@1036,off,off,1%@1728] EMC_FREQ 4%@3199 GR3D_FREQ 41%@[1015] NVDEC off "
    "NVJPG off VIC off OFA off APE 174 cpu@52.312C soc2@50.468C gpu@53.5C tj@53.5C soc1@51.5C cv0@-256C "
    "VDD_IN 7163mW/6900mW VDD_CPU_GPU_CV 2345mW/2100mW VDD_SOC 1512mW/1500mW"
)
AGX_XAVIER = (
    "RAM 14700/15692MB (lfb 3x2MB) SWAP 898/8192MB (cached 23MB) CPU [0%@1190,off] EMC_FREQ 0% GR3D_FREQ 0% "
    "AO@30C GPU@30.5C Tdiode@32C PMIC@100C GPU 463/463 CPU 618/618 SOC 2936/2936 SYS5V 3306/3306"
)
AGX_ORIN = (
    "RAM 5000/62841MB (lfb 1x4MB) CPU [1%@729] GR3D_FREQ 99%@[1300,1297] gpu@44C "
    "VDD_GPU_SOC 6396mW/6396mW VDD_CPU_CV 800mW/799mW VIN_SYS_5V0 5039mW/5039mW"
)
FILES = {
    "etc/nv_tegra_release": RELEASE,
    "var/lib/dpkg/status": "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
    "etc/nvpmodel.conf": NVPMODEL,
    "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1728000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1728000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "52312\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "-256000\n",
    "sys/class/thermal/thermal_zone3/type": "gone-thermal\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/thermal/cooling_device1/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "0\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "4\n",
}
INA3221 = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
RAILS = {
    f"{INA3221}/in1_label": "VDD_IN\n",
    f"{INA3221}/in1_input": "5000\n",
    f"{INA3221}/curr1_input": "1400\n",
    f"{INA3221}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{INA3221}/in2_input": "5000\n",
    f"{INA3221}/curr2_input": "400\n",
    f"{INA3221}/in7_label": "sum of shunt voltages\n",
    f"{INA3221}/in7_input": "12\n",
}


def write(root: Path, files: dict[str, str]) -> Path:
    """All of them below ``root``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
